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


def prepare(picture: np.ndarray, shape: list, facts: dict) -> np.ndarray:
    """What a network takes: resized where it must be, normalized, (1, 3, H, W)."""
    x = picture.transpose(2, 0, 1).astype(np.float32)
    height, width = x.shape[1:]
    if isinstance(shape[2], int):
        x = resize(x, *shape[2:])
    elif facts['task'] != 'segmentation':
        x = resize(x, *facts['size'])
    elif height % facts['multiple'] or width % facts['multiple']:
        x = resize(x, *(-(-n // facts['multiple']) * facts['multiple'] for n in (height, width)))
    x = x[::-1] if facts['channel_order'] == 'bgr' else x
    mean, std = (np.array(facts.get(key, fill)).reshape(-1, 1, 1) for key, fill in NORMAL.items())
    return np.ascontiguousarray((x - mean) / std, np.float32)[None]


def decode(output: np.ndarray, height: int, width: int, task: str) -> np.ndarray:
    """The answer: labels (H, W), keypoints (K, 3) of x, y and score, or shares of classes."""
    if task == 'segmentation':
        return resize(output, height, width).argmax(0)
    if task == 'pose':
        flat = output.reshape(len(output), -1)
        row, column = np.unravel_index(flat.argmax(1), output.shape[1:])
        x, y = (column + 0.5) * width / output.shape[2], (row + 0.5) * height / output.shape[1]
        return np.stack([x, y, flat.max(1)], 1)
    share = np.exp(output - output.max())
    return share / share.sum()


def main() -> None:
    """Run the command line."""
    if len(sys.argv) != 4:
        sys.exit('give an ONNX file, a picture, and where the result goes')
    session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
    facts = session.get_modelmeta().custom_metadata_map
    facts = {name: json.loads(value) for name, value in facts.items()}
    picture, task = read_picture(Path(sys.argv[2])), facts['task']
    height, width = picture.shape[:2]
    if facts.get('whole'):  # exported with --whole: all of it is in the file
        answer = session.run(None, {'pictures': picture[None]})[0][0]
    else:
        x = prepare(picture, session.get_inputs()[0].shape, facts)
        answer = decode(session.run(None, {'pictures': x})[0][0], height, width, task)
    result = picture.copy()
    if task == 'segmentation':
        count = len(facts.get('classes') or []) or answer.max() + 1
        colors = np.random.default_rng(0).integers(0, 256, (count, 3))
        colors = np.array(facts.get('palette', colors), np.uint8)
        result = (picture // 2 + colors[answer] // 2).astype(np.uint8)
        names = facts.get('classes') or [f'class {i}' for i in range(count)]
        for label, pixels in enumerate(np.bincount(answer.ravel(), minlength=count)):
            if pixels:
                print(f'{names[label]}: {pixels / answer.size:.1%}')
    elif task == 'pose':
        names = facts.get('keypoints') or [f'keypoint {i}' for i in range(len(answer))]
        for name, (x, y, score) in zip(names, answer, strict=True):
            print(f'{name}: {x:.1f}, {y:.1f} ({score:.2f})')
            side = max(1, min(height, width) // 60)
            top, left = max(int(y) - side, 0), max(int(x) - side, 0)
            result[top : int(y) + side + 1, left : int(x) + side + 1] = (255, 0, 80)
    else:
        names = facts.get('classes') or [f'class {i}' for i in range(len(answer))]
        for rank, label in enumerate(np.argsort(-answer)[:5]):
            print(f'{names[label]}: {answer[label]:.1%}')
            bar = slice(rank * height // 20, (rank + 1) * height // 20 - height // 100)
            result[bar, : max(1, int(answer[label] * width))] = (255, 0, 80)
    write_picture(Path(sys.argv[3]), result)


NORMAL = dict(mean=0.0, std=1.0)

if __name__ == '__main__':
    main()
