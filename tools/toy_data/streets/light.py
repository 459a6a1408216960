"""Time of day and weather: what lights the street, and what the air does to distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toy_data.brushes.chance import pick


@dataclass(frozen=True)
class Light:
    """Everything that the hour and the weather decide. Colours are RGB, 1 = white.

    Args:
        name (str): Name of the mood, e.g. ``'noon'``.
        sun (np.ndarray): ``(3,)`` colour and strength of direct sunlight.
        ambient (np.ndarray): ``(3,)`` colour and strength of the light from the sky.
        towards (np.ndarray): ``(3,)`` unit vector towards the sun in world axes.
        zenith (np.ndarray): ``(3,)`` colour of the sky overhead.
        horizon (np.ndarray): ``(3,)`` colour of the sky at the horizon, and of the haze.
        clouds (float): Share of the sky under clouds.
        haze (float): Share of light that the air replaces, per metre.
        lamps (bool): Whether lamps, windows and car lights are on.
        wet (float): How much the road mirrors the sky, 0 to 1.
        grain (float): Standard deviation of the sensor noise.
    """

    name: str
    sun: np.ndarray
    ambient: np.ndarray
    towards: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    clouds: float
    haze: float
    lamps: bool
    wet: float
    grain: float

    def shade(self, normal: np.ndarray) -> np.ndarray:
        """Light that arrives at a surface: ``(3,)`` unit normal -> ``(3,)`` RGB factor."""
        direct = max(float(normal @ self.towards), 0.0)
        return self.ambient * (0.8 + 0.2 * float(normal[1])) + self.sun * direct


# name: (probability, sun, ambient, elevation in degrees, zenith, horizon, clouds, haze, lamps,
#        wet, grain)
MOODS = {
    "noon": (.26, (.85, .80, .70), (.48, .52, .58), (38, 65), (.22, .46, .80), (.72, .84, .94),
             (.0, .45), (.0008, .003), False, (.0, .0), .012),
    "morning": (.16, (.80, .68, .50), (.44, .48, .56), (18, 34), (.36, .55, .80),
                (.90, .88, .82), (.1, .6), (.003, .008), False, (.0, .15), .014),
    "overcast": (.18, (.08, .08, .08), (.74, .76, .80), (40, 60), (.60, .64, .70),
                 (.80, .82, .85), (.6, 1.), (.003, .010), False, (.0, .6), .016),
    "golden": (.18, (1.05, .68, .34), (.36, .36, .46), (8, 18), (.34, .46, .70),
               (1.0, .76, .48), (.1, .6), (.002, .007), False, (.0, .1), .014),
    "mist": (.08, (.05, .05, .05), (.70, .72, .75), (40, 60), (.70, .73, .76), (.78, .80, .82),
             (.5, .8), (.014, .026), False, (.1, .5), .016),
    "dusk": (.10, (.0, .0, .0), (.36, .36, .48), (3, 6), (.14, .19, .40), (.88, .50, .40),
             (.2, .7), (.002, .006), True, (.0, .4), .024),
    "night": (.04, (.0, .0, .0), (.20, .21, .30), (3, 6), (.04, .06, .14), (.16, .15, .22),
              (.0, .5), (.001, .004), True, (.1, .6), .034),
}  # fmt: skip


def random_light(rng: np.random.Generator) -> Light:
    """Draw a mood, the sun's position and the weather within the mood's limits."""
    name = pick(rng, list(MOODS), [mood[0] for mood in MOODS.values()])
    _, sun, ambient, elevation, zenith, horizon, clouds, haze, lamps, wet, grain = MOODS[name]
    height, turn = np.deg2rad(rng.uniform(*elevation)), rng.uniform(0, 2 * np.pi)
    towards = np.array(
        [np.cos(height) * np.sin(turn), np.sin(height), np.cos(height) * np.cos(turn)]
    )
    # One factor for all light (exposure differs from shot to shot), one tint for each source.
    level = rng.uniform(0.8, 1.15)
    tint = rng.uniform(0.94, 1.06, (4, 3))
    return Light(
        name=name,
        sun=np.array(sun) * tint[0] * level,
        ambient=np.array(ambient) * tint[1] * level,
        towards=towards,
        zenith=np.array(zenith) * tint[2] * level,
        horizon=np.array(horizon) * tint[3] * level,
        clouds=rng.uniform(*clouds),
        haze=rng.uniform(*haze),
        lamps=lamps,
        wet=rng.uniform(*wet),
        grain=grain,
    )
