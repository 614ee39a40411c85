"""Published accuracies, to print beside our own."""

PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "PACS": {
        "ERM (DomainBed)": {"art_painting": 84.7, "cartoon": 80.8, "photo": 97.2, "sketch": 79.3},
        "MIRO (its author)": {"art_painting": 87.4, "cartoon": 78.3, "photo": 97.2, "sketch": 78.7},
        "ERM + SWAD (its README, one run)": {"art_painting": 89.75, "cartoon": 82.94, "photo": 97.98, "sketch": 81.87},
    },
    "VLCS": {
        "ERM (DomainBed)": {"Caltech101": 97.7, "LabelMe": 64.3, "SUN09": 73.4, "VOC2007": 74.6},
        "MIRO (its author)": {"Caltech101": 98.3, "LabelMe": 64.7, "SUN09": 75.3, "VOC2007": 77.8},
    },
    "OfficeHome": {
        "ERM (DomainBed)": {"Art": 61.3, "Clipart": 52.4, "Product": 75.8, "Real": 76.6},
        "MIRO (its author)": {"Art": 67.5, "Clipart": 54.6, "Product": 78.0, "Real": 81.6},
    },
    "TerraIncognita": {
        "ERM (DomainBed)": {"location_100": 49.8, "location_38": 42.1, "location_43": 56.9, "location_46": 35.7},
        "MIRO (its author)": {"location_100": 61.1, "location_38": 43.9, "location_43": 56.9, "location_46": 39.6},
    },
    "DomainNet": {
        "ERM (DomainBed)": {
            "clipart": 58.1, "infograph": 18.8, "painting": 46.7, "quickdraw": 12.2, "real": 59.6, "sketch": 49.8,
        },
        "MIRO (its author)": {
            "clipart": 63.4, "infograph": 21.5, "painting": 50.4, "quickdraw": 12.2, "real": 65.4, "sketch": 52.5,
        },
    },
}  # fmt: skip
"""Per cent on the target, ResNet-50 at 224 pixels, by data set, method and target. Not measured here."""
