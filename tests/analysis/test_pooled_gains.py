"""Mean gains over several held-out questions, at their edges."""

from __future__ import annotations

import numpy as np
import pytest

from cg_lab.analysis.gain_estimates import GainEstimate
from cg_lab.analysis.pooled_gains import TargetGain, pool_gains


@pytest.mark.parametrize("of_seeds", [0.0003, 0.0007, 0.0011])
def test_targets_that_gain_alike_have_the_interval_of_these_very_targets(of_seeds: float) -> None:
    """Neither nothing, as rounding makes of it, nor a gain without any doubt."""
    parts = [
        TargetGain(
            target=name,
            gain=GainEstimate(
                estimate=np.asarray(0.1),
                variance=np.asarray(0.002),
                freedom=np.asarray(6.0),
                seed_variances=(np.asarray(of_seeds),),
            ),
            models=((name,),),
        )
        for name in ("a", "b", "c")
    ]
    pooled = pool_gains(parts)
    assert pooled.over_targets is not None
    found, these = pooled.over_targets.to_interval(0.95), pooled.over_these.to_interval(0.95)
    assert (found.low, found.high, found.p_value) == (these.low, these.high, these.p_value)
    assert 0 < found.high - found.low < 0.2
