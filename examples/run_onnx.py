"""Run an exported ticket on a picture with numpy and onnxruntime alone.

    python run_onnx.py ticket.onnx street.ppm result.ppm

Segmentation paints the classes over the picture, pose marks the keypoints of the one person that
fills it, classification draws the five likeliest classes as bars and prints their names. PPM is
read and written by this file; other formats where Pillow is installed.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def read_picture(path: Path) -> np.ndarray:
    """A picture as (H, W, 3), RGB, 0 to 255."""
    data = path.read_bytes()
    if not data.startswith(b'P6'):
        from PIL import Image

        return np.asarray(Image.open(path).convert('RGB'))
    numbers, at = [], 2
    while len(numbers) < 3:
        while data[at : at + 1].isspace() or data[at : at + 1] == b'#':
            at = data.index(b'\n', at) + 1 if data[at : at + 1] == b'#' else at + 1
        end = at
        while data[end : end + 1].isdigit():
            end += 1
        numbers.append(int(data[at:end]))
        at = end
    width, height, _ = numbers
    return np.frombuffer(data, np.uint8, height * width * 3, at + 1).reshape(height, width, 3)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write (H, W, 3), RGB, 0 to 255."""
    if path.suffix == '.ppm':
        height, width = picture.shape[:2]
        path.write_bytes(b'P6\n%d %d\n255\n' % (width, height) + picture.tobytes())
    else:
        from PIL import Image

        Image.fromarray(picture).save(path)


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (..., H, W) bilinearly, corners not aligned."""
    for axis, size in ((-2, height), (-1, width)):
        before = x.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * before / size - 0.5, 0, before - 1)
        low = at.astype(int)
        share = (at - low).reshape((-1, 1) if axis == -2 else -1)
        high = np.minimum(low + 1, before - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


def main() -> None:
    """Run the command line."""
    if len(sys.argv) != 4:
        sys.exit('give an ONNX file, a picture, and where the result goes')
    session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
    facts = session.get_modelmeta().custom_metadata_map
    facts = {name: json.loads(value) for name, value in facts.items()}
    picture = read_picture(Path(sys.argv[2]))
    x = picture.transpose(2, 0, 1).astype(np.float32)
    height, width = x.shape[1:]
    shape = session.get_inputs()[0].shape
    if isinstance(shape[2], int):
        x = resize(x, *shape[2:])
    elif facts['task'] != 'segmentation':
        x = resize(x, *facts['size'])
    elif height % facts['multiple'] or width % facts['multiple']:
        x = resize(x, *(-(-n // facts['multiple']) * facts['multiple'] for n in (height, width)))
    x = x[::-1] if facts['channel_order'] == 'bgr' else x
    mean, std = (np.array(facts.get(key, fill)).reshape(-1, 1, 1) for key, fill in NORMAL.items())
    x = np.ascontiguousarray((x - mean) / std, np.float32)[None]
    output = session.run(None, {'pictures': x})[0][0]
    result = picture.copy()
    if facts['task'] == 'segmentation':
        labels = resize(output, height, width).argmax(0)
        colors = np.random.default_rng(0).integers(0, 256, (len(output), 3))
        colors = np.array(facts.get('palette', colors), np.uint8)
        result = (picture // 2 + colors[labels] // 2).astype(np.uint8)
        names = facts.get('classes') or [f'class {i}' for i in range(len(output))]
        for label, count in enumerate(np.bincount(labels.ravel(), minlength=len(output))):
            if count:
                print(f'{names[label]}: {count / labels.size:.1%}')
    elif facts['task'] == 'pose':
        names = facts.get('keypoints') or [f'keypoint {i}' for i in range(len(output))]
        for name, heat in zip(names, output, strict=True):
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            y, x = (row + 0.5) * height / heat.shape[0], (column + 0.5) * width / heat.shape[1]
            print(f'{name}: {x:.1f}, {y:.1f} ({heat.max():.2f})')
            side = max(1, min(height, width) // 60)
            top, left = max(int(y) - side, 0), max(int(x) - side, 0)
            result[top : int(y) + side + 1, left : int(x) + side + 1] = (255, 0, 80)
    else:
        share = np.exp(output - output.max())
        share /= share.sum()
        names = facts.get('classes') or [f'class {i}' for i in range(len(output))]
        for rank, label in enumerate(np.argsort(-share)[:5]):
            print(f'{names[label]}: {share[label]:.1%}')
            bar = slice(rank * height // 20, (rank + 1) * height // 20 - height // 100)
            result[bar, : max(1, int(share[label] * width))] = (255, 0, 80)
    write_picture(Path(sys.argv[3]), result)


NORMAL = dict(mean=0.0, std=1.0)

if __name__ == '__main__':
    main()
