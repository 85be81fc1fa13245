"""The vendors that bars can be downloaded from, and the source that a name means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trm_bt.errors import BarsError
from trm_bt.feeds.sample import SampleSource
from trm_bt.feeds.sources import DataSource, FolderSource
from trm_bt.feeds.store import default_store
from trm_bt.feeds.vendor import Vendor
from trm_bt.feeds.yahoo import Yahoo

VENDORS: Final[Mapping[str, type[Vendor]]] = {vendor.key: vendor for vendor in (Yahoo,)}


def open_source(source: str | Path, start: str | None = None) -> DataSource:
    """Return what a name or a folder means.

    Parameters
    ----------
    source : str or Path
        "sample"; a vendor, which is read from the user's store; or a folder, which is
        a store of a vendor's bars or has one file for each symbol.
    start : str, optional
        First date that is wanted; the sample reaches further back where it is early.

    Raises
    ------
    BarsError
        If there is no such folder, or no store yet, or one of an older format.
    """
    name = str(source)
    if name == "sample":
        return SampleSource(start)
    if name in VENDORS:
        vendor = VENDORS[name](default_store())
        if not vendor.store.symbols():
            raise BarsError(
                f"{vendor.folder}: must be a store of bars, but is not one yet. Run "
                "`trm-bt fetch`."
            )
        return vendor
    folder = Path(source)
    if not folder.is_dir():
        words = " or ".join(f"'{word}'" for word in ("sample", *VENDORS))
        raise BarsError(
            f"{folder}: must be a folder with SPY, TLT and VIX files, a store of "
            f"bars, or the word {words}; there is no such folder."
        )
    stores = (vendor(folder) for vendor in VENDORS.values())
    found = next((store for store in stores if store.store.symbols()), None)
    return found or FolderSource(folder)
