"""What mmpose needs of xtcocotools, over pycocotools.

xtcocotools scores keypoints of any data set, where pycocotools scores the 17 joints of COCO. The
matching, the curves and the averages are the same: what differs is what an annotation means. So
the annotations are put into COCO's terms here, and pycocotools does the rest. The scores are equal
to those of xtcocotools to the last digit.
"""

import contextlib
import io
import itertools
import json
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import coco, cocoeval

Annotation = dict[str, Any]
Array = np.ndarray[Any, Any]

PARTS = {  # type of evaluation: fields of the annotation that hold its joints, field of its score
    'keypoints': (['keypoints'], 'score'),
    'keypoints_crowd': (['keypoints'], 'score'),
    'keypoints_body': (['keypoints'], 'score'),
    'keypoints_foot': (['foot_kpts'], 'foot_score'),
    'keypoints_face': (['face_kpts'], 'face_score'),
    'keypoints_lefthand': (['lefthand_kpts'], 'lefthand_score'),
    'keypoints_righthand': (['righthand_kpts'], 'righthand_score'),
    'keypoints_wholebody': (
        ['keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts'],
        'wholebody_score',
    ),
}
BODY_IN_BOX = 0.53  # share of a person's box that the person covers, where the area is not known
CROWD_INDEX = (0, 0.2, 0.8, np.inf)  # easy, medium and hard pictures of CrowdPose lie between


class COCO(coco.COCO):
    """Annotations in COCO's format, of data sets that may leave out ``iscrowd``.

    Args:
        annotation_file (str, optional): Path of the annotations. Defaults to None: empty.
    """

    def __init__(self, annotation_file: str | None = None) -> None:
        super().__init__(annotation_file)
        for annotation in self.dataset.get('annotations', []):
            annotation.setdefault('iscrowd', False)

    def loadRes(self, results: str | list[Annotation] | Array) -> coco.COCO:
        """Take predictions as annotations; there may be none.

        Args:
            results (str | list[dict] | np.ndarray): Predictions, or the path of a file of them.

        Returns:
            COCO: The predictions with ids, boxes and areas.
        """
        if isinstance(results, str):
            results = json.loads(Path(results).read_text(encoding='utf-8'))
        if len(results):
            return super().loadRes(results)
        nothing = coco.COCO()
        nothing.dataset = dict(self.dataset, annotations=[])
        nothing.createIndex()
        return nothing


class COCOeval(cocoeval.COCOeval):
    """Average precision and recall of keypoints by object keypoint similarity.

    Args:
        cocoGt (COCO, optional): The truth. Defaults to None.
        cocoDt (COCO, optional): The predictions. Defaults to None.
        iouType (str): One of :data:`PARTS`. Defaults to 'keypoints'.
        sigmas (np.ndarray, optional): How far annotators differ about each joint, as a share of
            the person's size. Defaults to None: those of COCO's 17 joints.
        use_area (bool): Whether a person's size is the ``area`` of the annotation, or else 0.53
            times its box. Defaults to True.

    Raises:
        ValueError: If the type of evaluation is not one of keypoints.
    """

    stats: Array

    def __init__(
        self,
        cocoGt: coco.COCO | None = None,
        cocoDt: coco.COCO | None = None,
        iouType: str = 'keypoints',
        sigmas: Array | None = None,
        use_area: bool = True,
    ) -> None:
        if iouType not in PARTS:
            raise ValueError(
                f'COCOeval of st_mm scores {", ".join(PARTS)}, not {iouType!r}: for boxes and '
                f'masks there is pycocotools.cocoeval.COCOeval'
            )
        super().__init__(cocoGt, cocoDt, 'keypoints')
        self.part = iouType
        self.use_area = use_area
        if sigmas is not None:
            self.params.kpt_oks_sigmas = sigmas

    def summarize(self) -> None:
        """Print the scores and keep them as ``stats``.

        They are AP, AP at .5 and .75, of medium and large persons, then AR likewise. For crowds:
        AP, AP at .5 and .75, AR likewise, then AP of easy, medium and hard pictures.
        """
        super().summarize()
        if self.part == 'keypoints_crowd':
            kinds = [self._crowd_score(*bounds) for bounds in itertools.pairwise(CROWD_INDEX)]
            print('AP of easy, medium, hard pictures:', *kinds)
            self.stats = np.array([*self.stats[[0, 1, 2, 5, 6, 7]], *kinds])

    def _crowd_score(self, low: float, high: float) -> float:
        images = self.cocoGt.dataset['images']
        chosen = type(self)(
            self.cocoGt, self.cocoDt, self.part, self.params.kpt_oks_sigmas, self.use_area
        )
        chosen.params.imgIds = [x['id'] for x in images if low <= x['crowdIndex'] < high]
        with contextlib.redirect_stdout(io.StringIO()):
            chosen.evaluate()
            chosen.accumulate()
        precision = chosen.eval['precision'][:, :, :, 0, :]  # (IoUs, recalls, categories, 1 count)
        return round(float(np.mean(precision)), 4)

    def _prepare(self) -> None:
        """Group the annotations by picture and category, in COCO's terms."""
        which = dict(imgIds=self.params.imgIds)
        if self.params.useCats:
            which['catIds'] = self.params.catIds
        truths = self.cocoGt.loadAnns(self.cocoGt.getAnnIds(**which))
        found = self.cocoDt.loadAnns(self.cocoDt.getAnnIds(**which))
        # pycocotools takes the id 0 for "not matched"
        offset = 1 - min((truth['id'] for truth in truths), default=1)
        self._gts = _by_image(self._as_truth(truth, max(offset, 0)) for truth in truths)
        if any(PARTS[self.part][1] not in each for each in found):
            warnings.warn(
                f'{PARTS[self.part][1]!r} is not in every prediction: its "score" stands in',
                stacklevel=3,
            )
        predictions = [self._as_prediction(each) for each in found]
        self._dts = _by_image(x for x in predictions if _visible(x['keypoints']))
        self.evalImgs: list[Any] = []
        self.eval: dict[str, Any] = {}

    def _as_truth(self, annotation: Annotation, offset: int) -> Annotation:
        keypoints = self._keypoints(annotation)
        # CrowdPose counts only the joints that are not hidden
        crowd = self.part == 'keypoints_crowd'
        count = annotation['num_keypoints'] if crowd else _visible(keypoints)
        return dict(
            annotation,
            id=annotation['id'] + offset,
            keypoints=keypoints,
            area=self._area(annotation),
            ignore=count == 0 or annotation.get('iscrowd', False),
        )

    def _as_prediction(self, annotation: Annotation) -> Annotation:
        _, field = PARTS[self.part]
        score = annotation[field if field in annotation else 'score']
        return dict(annotation, keypoints=self._keypoints(annotation), score=score)

    def _keypoints(self, annotation: Annotation) -> list[float]:
        """All joints of the part: x, y and visibility in turn."""
        fields, _ = PARTS[self.part]
        return list(itertools.chain.from_iterable(annotation[field] for field in fields))

    def _area(self, annotation: Annotation) -> float:
        if not self.use_area:
            _, _, width, height = annotation['bbox']
            return float(height * width * BODY_IN_BOX)
        if 'area' not in annotation:
            raise ValueError(
                f'annotation {annotation["id"]} has no "area": set use_area=False, as for '
                f'CrowdPose and AIC'
            )
        return float(annotation['area'])


def _visible(keypoints: list[float]) -> int:
    return sum(visibility > 0 for visibility in keypoints[2::3])


def _by_image(annotations: Iterable[Annotation]) -> dict[tuple[int, int], list[Annotation]]:
    groups = defaultdict(list)
    for each in annotations:
        groups[each['image_id'], each['category_id']].append(each)
    return groups
