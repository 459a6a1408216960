"""Toy shapes: seeded pictures of ten kinds of shape, one kind a picture.

One idea a file, in the order in which a picture comes about:

* `outlines`  what is drawn: the outline of each kind, no two quite alike
* `picture`   pose, colours, textures, clutter and noise: from an outline to a picture
* `dataset`   names, files and the manifest of a whole set
"""
