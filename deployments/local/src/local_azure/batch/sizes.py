"""The VM sizes that Resource Manager lists."""

from dataclasses import dataclass

FAMILIES = {  # by their names in quotas
    "standardDDSv5Family": "Standard_D{}ds_v5",
    "standardDSv5Family": "Standard_D{}s_v5",
    "standardDADSv5Family": "Standard_D{}ads_v5",
    "standardDASv5Family": "Standard_D{}as_v5",
    "standardEDSv5Family": "Standard_E{}ds_v5",
}
CORES = (2, 4, 8, 16, 32, 48, 64, 96)


@dataclass(frozen=True, slots=True)
class Size:
    name: str
    family: str
    cores: int


OFFERED = tuple(
    Size(pattern.format(cores), family, cores)
    for family, pattern in FAMILIES.items()
    for cores in CORES
)
