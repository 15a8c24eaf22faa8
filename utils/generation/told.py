"""An explanation in the words of a language model of your own: any model folder on this machine, never the network."""

from __future__ import annotations

from pathlib import Path

import torch

from utils.errors import CourseError
from utils.features.encoders.text import quiet_loading
from utils.features.encoders.weights import PLAIN, refuse_code


@torch.no_grad()
def told_by(folder: str | Path, prompt: str, n_tokens: int = 60) -> str:
    """Let a causal language model go on from a prompt, always with the likeliest token: the new words alone.

    Args:
        folder: of a model of transformers, with its tokenizer, weights as safetensors.

    Raises:
        CourseError: no such folder, a folder that names code, weights of another kind, no language model.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise CourseError(
            f"No language model in {folder} (nothing is downloaded here); the template's sentence stands without one, or put "
            "a model folder of transformers there: config.json, tokenizer and *.safetensors."
        )
    if not list(folder.glob("*.safetensors")):
        raise CourseError(
            f"{folder} has no *.safetensors; weights of other kinds can run code, so save it as safetensors."
        )
    refuse_code(folder, "told_by")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **PLAIN)
            model = AutoModelForCausalLM.from_pretrained(str(folder), use_safetensors=True, **PLAIN).eval()
    except Exception as error:  # noqa: BLE001  a stranger's folder fails in many ways
        reason = str(error).split("\n")[0]
        raise CourseError(
            f"{folder} does not load as a causal language model ({reason}); choose another folder."
        ) from None
    tokens = tokenizer(prompt, return_tensors="pt")
    length = tokens["input_ids"].shape[1]
    end = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    out = model.generate(**tokens, max_new_tokens=n_tokens, do_sample=False, pad_token_id=end)
    return tokenizer.decode(out[0, length:], skip_special_tokens=True).strip()
