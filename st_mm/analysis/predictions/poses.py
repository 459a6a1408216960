"""Poses: skeletons on the crop that the network sees, drawn by mmpose."""

from collections.abc import Mapping
from typing import Any

import cv2
import mmcv
import numpy as np
from mmengine.structures import InstanceData

from .panels import Array, Colour, Panel, Picture

HEIGHT = 360  # of a crop, in pixels: skeletons are lines of a few
RADIUS, LINE = 5, 4
RIM = 2  # of black around what is drawn, on paler pictures: its colours are all the same grey
BLACK, PALE = (0, 0, 0), 0.5


class Poses:
    """Draw the skeleton of one person a picture.

    Joints that are annotated are drawn, whatever their score: they are those that are evaluated.

    Args:
        meta (Mapping[str, Any]): Of the data set, as mmpose reads it: joints, links, colours.
    """

    columns = ('input', 'truth')
    legend: tuple[tuple[str, Colour], ...] = ()

    def __init__(self, meta: Mapping[str, Any]) -> None:
        from mmpose.visualization import PoseLocalVisualizer  # an optional library

        self._rim = PoseLocalVisualizer(radius=RADIUS + RIM, line_width=LINE + 2 * RIM)
        self._rim.set_dataset_meta(
            {
                **meta,
                'keypoint_colors': [BLACK] * len(meta['keypoint_colors']),
                'skeleton_link_colors': [BLACK] * len(meta['skeleton_link_colors']),
            }
        )
        self._lines = PoseLocalVisualizer(radius=RADIUS, line_width=LINE)
        self._lines.set_dataset_meta(dict(meta))

    def given(self, sample: Any) -> tuple[Panel, ...]:
        """Show crop and truth of a data sample."""
        crop, _ = _crop(sample)
        return Picture(crop), self._skeleton(sample, sample.gt_instances.keypoints)

    def predicted(self, sample: Any) -> Panel:
        """Show the prediction of a data sample."""
        return self._skeleton(sample, sample.pred_instances.keypoints)

    def _skeleton(self, sample: Any, joints: Array) -> Picture:
        from mmpose.structures import PoseDataSample

        crop, warp = _crop(sample)
        annotated = np.asarray(sample.gt_instances.keypoints_visible, dtype=float)
        shown = InstanceData(
            keypoints=np.asarray(joints[..., :2]) @ warp[:, :2].T + warp[:, 2],
            keypoints_visible=annotated.reshape(annotated.shape[:2]),
        )
        drawn = (255 - PALE * (255 - crop.astype(float))).astype(np.uint8)
        for visualizer in (self._rim, self._lines):
            pose = PoseDataSample(pred_instances=shown)
            visualizer.add_datasample('pose', drawn, pose, draw_gt=False, kpt_thr=0.5)
            drawn = visualizer.get_image()
        return Picture(drawn)


def _crop(sample: Any) -> tuple[Array, Array]:
    """Cut out the person as for the network, larger; no farther than the picture goes.

    Returns:
        tuple[np.ndarray, np.ndarray]: (H, W, 3) uint8, RGB, and the (2, 3) matrix that takes points
        of the picture there.
    """
    from mmpose.structures.bbox import get_warp_matrix

    width, height = sample.input_size
    size = round(HEIGHT * width / height), HEIGHT
    warp = get_warp_matrix(sample.input_center, sample.input_scale, 0, size)
    image = mmcv.imread(sample.img_path, channel_order='rgb')
    crop = cv2.warpAffine(image, warp, size, flags=cv2.INTER_LINEAR)
    corners = np.array([[0, 0], image.shape[1::-1]]) @ warp[:, :2].T + warp[:, 2]
    (left, top), (right, bottom) = np.clip(np.round(corners), 0, size).astype(int)
    warp[:, 2] -= left, top
    return np.ascontiguousarray(crop[top:bottom, left:right]), warp
