"""DICOM files as scanners write them, for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

PRIVATE = ("Mustermann^Erika", "PAT-4711", "19640812", "20231107", "Charite Station 7")


def make_film(pixels: NDArray[np.generic], patient: str = PRIVATE[1], **tags: object) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.PatientName, film.PatientID, film.PatientBirthDate = PRIVATE[0], patient, PRIVATE[2]
    film.StudyDate, film.InstitutionName = PRIVATE[3], PRIVATE[4]
    film.Modality, film.BodyPartExamined = "CT", "CHEST"
    is_colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    film.Rows, film.Columns = pixels.shape[-3:-1] if is_colour else pixels.shape[-2:]
    film.SamplesPerPixel = 3 if is_colour else 1
    film.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        film.PlanarConfiguration = 0
    film.BitsAllocated = film.BitsStored = 8 * pixels.dtype.itemsize
    film.HighBit = film.BitsStored - 1
    film.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        setattr(film, name, value)
    film.PixelData = pixels.tobytes()
    return film
