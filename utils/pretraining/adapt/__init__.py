"""Adaptation of a pretrained encoder to one task: LoRA, adapter, prompt, last block, all of it; what each costs and forgets."""

from utils.pretraining.adapt.cold import withhold_items
from utils.pretraining.adapt.cost import step_memory, training_bytes
from utils.pretraining.adapt.encoders import Encoder, PictureEncoder, TextEncoder, Texts
from utils.pretraining.adapt.forgetting import same_category
from utils.pretraining.adapt.parts import Adapter, LoRA, Prompt
from utils.pretraining.adapt.store import load_task, save_task, state_to_store, stored_bytes
from utils.pretraining.adapt.task import NextFromContent, train_steps
from utils.pretraining.adapt.trap import eval_moves, judged_output, named_mistake, peft_moves, without_fast_path
from utils.pretraining.adapt.ways import PICTURE_WAYS, WAYS, adapt, merge_lora, parameters_of
