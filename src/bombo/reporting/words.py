"""What the names in a run's files mean, for readers who did not write the code."""

from __future__ import annotations

FIGURES = {
    "mAP50-95": "Boxes: average precision, mean over the classes and over overlaps from 50 to 95 %.",
    "mAP50": "Boxes: average precision where half an overlap is enough.",
    "mAP75": "Boxes: average precision where three quarters of an overlap are asked for.",
    "mAP_small": "Boxes: mAP50-95 of objects below 32² pixels.",
    "mAP_medium": "Boxes: mAP50-95 of objects of 32² to 96² pixels.",
    "mAP_large": "Boxes: mAP50-95 of objects above 96² pixels.",
    "VOC_AP50": "Boxes: PASCAL VOC's average precision since 2010.",
    "VOC07_AP50": "Boxes: PASCAL VOC's average precision of 2007, at eleven recalls.",
    "mIoU": "Masks: shared area over joint area, mean over the classes and background.",
    "IoU_background": "Masks: the same for background alone.",
    "pixel_accuracy": "Masks: share of the pixels that are named rightly.",
}

# name → what it teaches, and what it is counted in
TERMS = {
    "det_cls": ("Which class is where, from annotated boxes.", "images"),
    "det_box": ("Where the sides of annotated boxes are.", "images"),
    "seg_ce": ("Pixels from annotated masks, one by one.", "images"),
    "seg_dice": ("Pixels from annotated masks, by shared area.", "images"),
    "b4m_label": ("Pixel labels made from boxes, one by one.", "pixels"),
    "b4m_dice": ("Pixel labels made from boxes, by shared area.", "images"),
    "b4m_set": ("No pixel may be of a class whose boxes it lies outside.", "cells"),
    "b4m_row": ("Every row and column of a box must meet its object.", "boxes"),
    "b4m_pair": ("Neighbours of like colour in a box are of one class.", "pairs"),
    "b4m_fill": ("How much of a box its object usually fills.", "boxes"),
    "m4b_cls": ("Classes of boxes made from masks.", "pseudo-boxes"),
    "m4b_box": ("Sides of boxes made from masks.", "anchors"),
    "m4b_neg": ("Where the mask says that no object is.", "anchors"),
    "m4b_bag": ("Every component of a mask holds an object.", "components"),
    "m4b_out": ("No predicted box reaches beyond the mask of its class.", "predictions"),
    "ssl_mask": ("The teacher's own sure pixels, whatever the boxes say.", "pixels"),
    "ssl_cls": ("The teacher's own sure boxes, whatever the mask says: classes.", "boxes"),
    "ssl_box": ("The teacher's own sure boxes, whatever the mask says: sides.", "anchors"),
}

GROUPS = {
    "det": "Detection, from annotated boxes",
    "seg": "Segmentation, from annotated masks",
    "b4m": "Boxes teach segmentation",
    "m4b": "Masks teach detection",
    "ssl": "The network teaches itself",
}
WEAK = ("b4m", "m4b", "ssl")


def percent(share: float | None) -> str:
    """A share in percent with one digit, or a dash."""
    return "–" if share is None else f"{100 * share:.1f}"


def count(number: float | None) -> str:
    """A number with thousands set apart, or a dash."""
    return "–" if number is None else f"{number:,.0f}"


def short(value: float) -> str:
    """A number for an axis or the end of a line: three digits at most."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):.3g} {letter}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
