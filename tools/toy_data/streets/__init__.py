"""Toy streets: seeded drawings of street scenes with exact labels in Cityscapes trainIds.

One idea a file, in the order in which a picture comes about:

* `classes`   what is drawn: ids, names and colours of the Cityscapes classes
* `camera`    where a point of the world lands in the picture
* `light`     time of day and weather: sun, ambient light, haze
* `painter`   the three buffers (colour, label, depth) and the ways to paint them
* `sky`, `ground`, `buildings`, `plants`, `furniture`, `people`, `vehicles`   what gets painted
* `scene`     puts a random street together and paints it from far to near
* `lens`      haze, blur, exposure and sensor noise: from buffers to a photograph
* `dataset`   names, files and the manifest of a whole set
"""
