"""Networks: architectures, pretrained weights, the model file, the choice of a device.

`registry` names what there is; `build` makes it; `model` is what a stage works with; `weights`
finds a model by name or path.
"""
