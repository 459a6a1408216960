"""Toy data: drawn sets for the three tasks, from a seed and without a download.

* `brushes`   what all of them paint with
* `streets`   street scenes with labels, in the layout of Cityscapes
* `people`    people with keypoints, in the format of COCO
* `shapes`    kinds of shapes, in the folders of ImageNet
* `request`   which images a set has, and the processes that draw them
* `command`   what their command lines share
"""
