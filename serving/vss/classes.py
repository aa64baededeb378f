"""The 19 Cityscapes/BDD100K classes, their colours, and how they merge into CamVid's 11."""

from __future__ import annotations

STREET_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)

CAMVID_MERGE: dict[str, tuple[int, ...]] = {
    "sky": (10,),
    "building": (2, 3),
    "pole": (5,),
    "road": (0,),
    "pavement": (1,),
    "tree": (8, 9),
    "sign": (6, 7),
    "fence": (4,),
    "car": (13, 14, 15, 16),
    "pedestrian": (11,),
    "bicyclist": (12, 17, 18),
}
"""CamVid class (in the order of its label ids) to the street classes that count as it."""
