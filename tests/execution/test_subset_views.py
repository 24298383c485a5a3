"""What models see and say of training images for a recommendation: once, and never of a test image."""

from pathlib import Path

import numpy as np
import pytest

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data.samples import Split
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError
from cg_lab.execution.subset_views import SubsetViews
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.results import Layout
from cg_lab.serialize import read_json

COUNT = 6
NAME = "ct-lung-mass"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(read_study(["data.modalities=[CT]", "data.areas=[Lung]", "data.tasks=[Mass]"]).data)


def open_views(catalog: Catalog, backbone: LoadedBackbone, folder: Path) -> SubsetViews:
    views = SubsetViews(catalog=catalog, identity=backbone.identity, layout=Layout(folder), batch_size=4)
    views._backbone = backbone
    return views


def test_a_subset_is_looked_at_once_and_kept(catalog: Catalog, backbone: LoadedBackbone, tmp_path: Path) -> None:
    told: list[str] = []
    first = open_views(catalog, backbone, tmp_path).view({NAME: COUNT}, told.append)[NAME]
    again = open_views(catalog, backbone, tmp_path).view({NAME: COUNT}, told.append)[NAME]
    assert told == [NAME]
    assert (first.joined_ND == again.joined_ND).all()
    assert first.labels == again.labels
    assert np.isfinite(first.joined_ND).all()
    assert len(first.image_ND) == len(first.prompt_ND) == COUNT
    assert first.prompt_ND.std(axis=0).max() > 0


def test_features_do_not_depend_on_how_many_are_looked_at_at_a_time(
    catalog: Catalog, backbone: LoadedBackbone, tmp_path: Path
) -> None:
    whole = open_views(catalog, backbone, tmp_path / "a")
    apart = open_views(catalog, backbone, tmp_path / "b")
    apart.batch_size = 1
    one, other = (views.view({NAME: COUNT}, lambda _: None)[NAME] for views in (whole, apart))
    assert np.allclose(one.joined_ND, other.joined_ND, atol=1e-4)


def test_only_training_images_are_drawn_and_fewer_are_the_first_of_more(
    catalog: Catalog, backbone: LoadedBackbone, tmp_path: Path
) -> None:
    views = open_views(catalog, backbone, tmp_path)
    drawn = views._draw(NAME, COUNT)
    assert views._source is not None
    assert {sample.id for sample in drawn} <= {sample.id for sample in views._source.read_samples(NAME, Split.TRAIN)}
    assert not {sample.id for sample in drawn} & {one.id for one in views._source.read_samples(NAME, Split.TEST)}
    assert views._draw(NAME, 3) == drawn[:3]


def test_fine_tunes_whose_weights_are_gone_are_passed_over_and_others_asked_once(
    catalog: Catalog, backbone: LoadedBackbone, tmp_path: Path
) -> None:
    views = open_views(catalog, backbone, tmp_path)
    backbone.model.save_pretrained(views.layout.weights("there"))
    told: list[str] = []
    found, asked = views.ask(NAME, COUNT, ["there", "gone"], told.append)
    assert asked == COUNT
    assert set(found) == set(told) == {"there"}
    assert 0 <= found["there"] <= COUNT
    (kept,) = views.layout.features.glob("*.json")
    assert read_json(kept) == found["there"]
    assert views.ask(NAME, COUNT, ["there"], told.append) == (found, COUNT)
    assert told == ["there"]


def test_a_catalogue_without_images_is_refused(backbone: LoadedBackbone, tmp_path: Path) -> None:
    table = tmp_path / "subsets.csv"
    table.write_text("name,modality,area,task,labels,num_train,num_test\na,CT,Lung,Mass,no;yes,8,8\n")
    catalog = read_catalog(read_study(["data=catalog", f"data.path={table}"]).data)
    with pytest.raises(UserError, match="lists none"):
        open_views(catalog, backbone, tmp_path).view({catalog.subsets[0].name: 2}, lambda _: None)
