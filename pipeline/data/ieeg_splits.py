"""Train, validation, calibration and test of one patient: whole recordings, in order of time."""

from __future__ import annotations

from collections.abc import Sequence

from ..config.cascade import SPLITS, SplitShares
from ..errors import DataError
from .ieeg_recording import Recording


def split_in_time(recordings: Sequence[Recording], has_seizure: Sequence[bool], shares: SplitShares) -> list[str]:
    """The split of each recording.

    Recordings that share a seizure stay together. Seizure recordings are divided by `shares`, at least one per
    split; those without a seizure go with the seizure recording before them (the first ones with the one after).

    Args:
        recordings: of one patient, in order of time.
        has_seizure: whether a recording has a seizure that counts.
        shares: of the seizures, by split.

    Raises:
        DataError: fewer seizure recordings than splits.
    """
    units: list[list[int]] = []
    for index in range(len(recordings)):
        joined = index > 0 and recordings[index - 1].continues
        units[-1].append(index) if joined else units.append([index])
    with_seizure = [unit for unit in units if any(has_seizure[index] for index in unit)]
    if len(with_seizure) < len(SPLITS):
        patient = recordings[0].patient if recordings else "?"
        raise DataError(
            f"patient {patient}: seizures that count in {len(with_seizure)} separate recordings, but {len(SPLITS)} "
            f"splits ({', '.join(SPLITS)}) need one each; add recordings or name the patient in data.leave_out"
        )
    order = _in_order(len(with_seizure), shares)
    splits = [""] * len(recordings)
    current, seen = order[0], 0
    for unit in units:
        if unit in with_seizure:
            current = order[seen]
            seen += 1
        for index in unit:
            splits[index] = current
    return splits


def split_by_group(recordings: Sequence[Recording], shares: SplitShares) -> list[str]:
    """The split of each independent record: every group is divided by `shares` in the order of the table.

    Raises:
        DataError: a group has fewer records than splits.
    """
    splits = [""] * len(recordings)
    for group in sorted({str(recording.group) for recording in recordings}):
        members = [index for index, recording in enumerate(recordings) if str(recording.group) == group]
        if len(members) < len(SPLITS):
            raise DataError(
                f"{recordings[0].path}: set {group} has {len(members)} records, but {len(SPLITS)} splits need one each"
            )
        for index, split in zip(members, _in_order(len(members), shares), strict=True):
            splits[index] = split
    return splits


def _in_order(count: int, shares: SplitShares) -> list[str]:
    """`count` >= 4 places divided by largest remainder, at least one per split, in the order of SPLITS."""
    total = sum(shares[split] for split in SPLITS)
    spare = count - len(SPLITS)
    exact = [spare * shares[split] / total for split in SPLITS]
    places = [1 + int(value) for value in exact]
    by_remainder = sorted(range(len(SPLITS)), key=lambda index: (int(exact[index]) - exact[index], index))
    for index in by_remainder[: count - sum(places)]:
        places[index] += 1
    return [split for split, number in zip(SPLITS, places, strict=True) for _ in range(number)]
