"""Croissant: the tables of `hf`, and beside them JSON-LD that says what each column holds (version 1.0)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.exchange.exported_study import ExportedStudy
from cg_lab.exchange.formats import hf
from cg_lab.exchange.study_tables import TABLES
from cg_lab.serialize import write_json

TAKES_BOXES = True
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""Of every file of version 1.0."""
README = """
`croissant.json` describes these files; `mlcroissant validate --jsonld croissant.json` checks it, and it names no license, which only you know.
"""


def write(study: ExportedStudy, folder: Path) -> str:
    """Write questions.parquet and croissant.json."""
    told = hf.write(study, folder)
    tables = ("questions", *TABLES)
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": study.name,
        "description": f"Test questions, training mixtures and proofs of the study {study.name}, plan {study.plan.id} of cg_lab.",
        "version": "1.0.0",
        "distribution": [_describe_file(folder / f"{name}.parquet") for name in tables],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "field": list(_describe_columns(name, pq.read_schema(folder / f"{name}.parquet"))),
            }
            for name in tables
        ],
    }
    write_json(folder / "croissant.json", described)
    return f"{told}\n{README}"


def _describe_file(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": "application/x-parquet",
        "sha256": digest,
    }


def _describe_columns(table: str, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    for column in schema:
        is_image = pa.types.is_struct(column.type)
        source: dict[str, Any] = {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": column.name}}
        if is_image:
            source["transform"] = {"jsonPath": "bytes"}
        told = {
            "@type": "cr:Field",
            "@id": f"{table}/{column.name}",
            "name": column.name,
            "dataType": "sc:ImageObject" if is_image else _name_type(column.type),
            "source": source,
        }
        yield told | ({"repeated": True} if pa.types.is_list(column.type) else {})


def _name_type(kind: pa.DataType) -> str:
    while pa.types.is_list(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
