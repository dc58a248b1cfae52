"""The embedded data set: a small beach seen from above, generated with exact boxes, instances and masks."""

from bombo.data.scenes.scene import STUFF, THINGS, Scene, label_space, make_scene

__all__ = ["STUFF", "THINGS", "Scene", "label_space", "make_scene"]
