"""Write groups of drawn scenes in the official training format: JSONL with pictures and clips beside it.

    python examples/demo_judge/make_data.py --pictures 200 --clips 100 --out data

writes `data/groups.jsonl`, `data/pictures/000000.png` … and `data/clips/000200.mp4` … . The splits "train" and
"heldout" never share a random stream, whatever the seeds, and the backbone was pretrained on "train" only.
"""

import argparse
import json
from pathlib import Path

import av
import numpy as np
import scenes
from PIL import Image


def write_picture(path: Path, drawing: scenes.Drawing) -> None:
    """Write a PNG."""
    Image.fromarray(scenes.draw_frame(drawing)).save(path)


def write_clip(path: Path, drawing: scenes.Drawing) -> None:
    """Write an H.264 clip of `drawing.n_frames` frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=scenes.FPS)
        stream.width = stream.height = scenes.SIDE_PX
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        for index in range(drawing.n_frames):
            frame = av.VideoFrame.from_ndarray(scenes.draw_frame(drawing, index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_group(out: Path, index: int, group: scenes.SceneGroup) -> dict[str, object]:
    """Write a group's picture or clip; the group's line of JSON comes back."""
    record: dict[str, object] = {
        "id": f"scene-{index:06d}",
        "prompt": group.prompt,
        "responses": [response.text for response in group.responses],
        "rankings": group.rankings,
    }
    if group.scene.kind == "picture":
        name = f"pictures/{index:06d}.png"
        write_picture(out / name, group.drawing)
        return {**record, "image": name}
    name = f"clips/{index:06d}.mp4"
    write_clip(out / name, group.drawing)
    return {**record, "video": name}


def write_groups(
    out: Path,
    n_pictures: int,
    n_clips: int,
    n_responses: tuple[int, int],
    split: str,
    seed: int,
) -> Path:
    """Write `groups.jsonl` and its media: pictures first, then clips.

    Args:
        out: folder to write to; made if it is not there.
        n_pictures: groups about a picture.
        n_clips: groups about a clip.
        n_responses: least and most responses in a group.
        split: "train" or "heldout".
        seed: groups of one split and seed are the same whatever the other arguments, except `n_responses`.
    """
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    (out / "clips").mkdir(exist_ok=True)
    path = out / "groups.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for index in range(n_pictures + n_clips):
            rng = scenes.rng_for(split, seed, index)  # type: ignore[arg-type]
            n = int(np.clip(rng.integers(n_responses[0], n_responses[1] + 1), 2, 8))
            group = scenes.sample_group(rng, "picture" if index < n_pictures else "clip", n)
            lines.write(json.dumps(write_group(out, index, group), ensure_ascii=False) + "\n")
    return path


def parse_range(text: str) -> tuple[int, int]:
    """ "4" -> (4, 4) and "2-8" -> (2, 8)."""
    low, _, high = text.partition("-")
    n_responses = int(low), int(high or low)
    if not 2 <= n_responses[0] <= n_responses[1] <= 8:
        raise argparse.ArgumentTypeError(f"{text!r} is not within 2-8")
    return n_responses


def main() -> None:
    """Read the options and write the data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--pictures", type=int, default=100, help="groups about a picture")
    parser.add_argument("--clips", type=int, default=50, help="groups about a clip")
    parser.add_argument("--n-responses", type=parse_range, default=(4, 4), metavar="N|LOW-HIGH")
    parser.add_argument("--split", choices=("train", "heldout"), default="heldout")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    path = write_groups(args.out, args.pictures, args.clips, args.n_responses, args.split, args.seed)
    print(path)


if __name__ == "__main__":
    main()
