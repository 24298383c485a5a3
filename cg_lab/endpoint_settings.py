"""A model that a server asks for us: what is declared of it, which is its identity, and how the server is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, JsonValue, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cg_lab.data_settings import NonEmptyText
from cg_lab.questions import AnswerForm

CHAT_COMPLETIONS = "chat_completions"
"""The form of requests that most servers understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """Identity of a model that a server asks for us.

    It holds what is declared, since a plan is made without the server; what the server says of itself is kept beside
    the answers and compared.
    """

    name: str
    served: str
    """What the server calls it; of a server with adapters, the name of one."""
    revision: str = ""
    """Commit, date or any other mark of what is served; empty for none."""
    answer: AnswerForm
    request: str
    """What each request says beside the model and the question, as canonical JSON."""
    longest_side: Annotated[int | None, Field(exclude_if=lambda given: given is None)] = None
    """Pixels that images are sent with at most; None sends them as they are."""
    format: str = CHAT_COMPLETIONS
    """Module in `cg_lab.models.endpoint.formats`, or a dotted one of the user's own."""
    option_log_probs: Annotated[bool, Field(exclude_if=lambda given: not given)] = False
    """Whether texts of options count by the log-probabilities of a prompt that ends with each, as vLLM gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How a served model is reached; no answer depends on it."""

    model: ServedModel
    url: str
    key_variable: str | None
    concurrency: int
    timeout_s: float
    retries: int
    retry_wait_s: float
    max_requests: int | None
    input_price: float = 0.0
    """Of a million tokens that it reads, in any currency."""
    output_price: float = 0.0
    """Of a million tokens that it writes."""
    max_cost: float | None = None
    """That may be spent, in that currency."""

    def price(self, num_read: int, num_written: int) -> float:
        """Give what tokens cost."""
        return (num_read * self.input_price + num_written * self.output_price) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """A served model with its server, as configured."""

    name: NonEmptyText | None
    """Null for what the server calls it."""
    served: NonEmptyText
    url: NonEmptyText
    """Up to `/v1`."""
    revision: str | None
    answer: AnswerForm
    format: NonEmptyText
    request: dict[str, JsonValue]
    longest_side: PositiveInt | None
    option_log_probs: bool
    """With `answer=text` alone."""
    key_variable: NonEmptyText | None
    """Variable of the environment that holds the key; None sends none."""
    concurrency: PositiveInt
    """Requests that are under way at one time."""
    timeout_s: PositiveFloat
    """Of one request."""
    retries: NonNegativeInt
    """Further tries of a request after a fault of the server or the network."""
    retry_wait_s: PositiveFloat
    """Before the second try; doubled with each further one."""
    max_requests: PositiveInt | None
    """That are paid for this model and results folder in all; None for any number."""
    input_price: NonNegativeFloat
    output_price: NonNegativeFloat
    """Of a million tokens, as the server's page of prices has them."""
    max_cost: PositiveFloat | None
    """For this model and results folder in all; None for any."""
    eval_samples_per_s: PositiveFloat
    """For the time that a plan foretells."""

    @property
    def train_samples_per_s(self) -> float:
        """As of models that are trained."""
        return self.eval_samples_per_s

    @property
    def rate_gpus(self) -> int:
        """As of models that are trained."""
        return 1

    @property
    def checkpoint_gb(self) -> float:
        """Nothing is kept of it."""
        return 0.0

    @property
    def adapter_mb(self) -> float:
        """Nothing is kept of it."""
        return 0.0


def tell_endpoint(raw: Any) -> str:  # noqa: ANN401 - pydantic gives plain data or a dataclass
    """Tell what belongs to a served model from what belongs to weights, by a field that these have not."""
    is_served = "served" in raw if isinstance(raw, dict) else hasattr(raw, "served")
    return "endpoint" if is_served else "weights"
