"""What makes a run take a second: small images, batches of 4, the smallest network timm has."""

QUICK = {
    "backbone": "test_resnet",
    "weights": "none",
    "channels": 16,
    "segmentation_channels": 16,
    "head_depth": 0,
    "size": 64,
    "batch_size": 4,
    "workers": 0,
}
