"""Toy people: seeded drawings of articulated people with exact COCO keypoints.

One idea a file, in the order in which a picture comes about:

* `body`      the skeleton, its poses, and where its joints land in the picture
* `canvas`    colours and the number of the part on top at every pixel
* `scene`     dresses people, puts them in front of something and behind something else
* `dataset`   images, annotations and the folder of a whole set
"""
