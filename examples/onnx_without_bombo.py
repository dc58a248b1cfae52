"""Detects and segments with an exported network, without BoMBo: pip install numpy pillow onnxruntime.

bombo export runs/pets-1 --end-to-end
python onnx_without_bombo.py runs/pets-1/best_detect.onnx photo.jpg
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["bombo"])
classes = about["things"] + about["stuff"]
height, width = about["size"]

photo = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB")
if about["fit"] == "letterbox":
    shown = ImageOps.contain(photo, (width, height), Image.Resampling.BILINEAR)
else:
    shown = photo.resize((width, height), Image.Resampling.BILINEAR)
left, top = (width - shown.width) // 2, (height - shown.height) // 2
canvas = Image.new("RGB", (width, height), tuple(about["padding"]))
canvas.paste(shown, (left, top))
images = np.asarray(canvas).transpose(2, 0, 1)[None].repeat(about["batch_size"] or 1, axis=0)  # 0 to 255, as they are

boxes, scores, labels, masks = (each[0] for each in session.run(None, {"images": images}))
boxes = (boxes - [left, top, left, top]) * ([photo.width / shown.width, photo.height / shown.height] * 2)
boxes = boxes.clip(0, [photo.width, photo.height] * 2)
for box, score, label in zip(boxes, scores, labels, strict=True):
    if score >= 0.3:  # the file gives everything from 0.01 on; rows of score 0 are padding
        print(f"{classes[label]:<15}{score:.2f}   {np.round(box, 1).tolist()}")
mask = Image.fromarray(masks[top : top + shown.height, left : left + shown.width])
mask.resize(photo.size, Image.Resampling.NEAREST).save("mask.png")  # 0 background, then the classes in order
print("mask.png   " + ", ".join(f"{classes[value - 1]} = {value}" for value in np.unique(masks) if value))
