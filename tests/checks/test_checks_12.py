"""Notebook 12: its checks pass right answers in two forms, and name wrong ones."""

import numpy as np
import torch
import torch.nn.functional as F
from exercise_helpers import table_tests

from utils import checks
from utils.pretraining.adapt import trap
from utils.pretraining.attention import attendable

# ---- who may look at whom ----


def mask_of_the_course(real):
    return attendable(real)


def mask_by_loop(real):
    b, length = real.shape
    table = np.zeros((b, length, length), dtype=bool)
    for history in range(b):
        for row in range(length):
            for column in range(length):
                table[history, row, column] = row == column or (column <= row and bool(real[history, column]))
    return table


def past(real):
    return torch.ones(real.shape[1], real.shape[1]).tril().bool()


def sees_the_future(real):
    return real[:, None, :].expand(-1, real.shape[1], -1) | torch.eye(real.shape[1]).bool()


def sees_padding(real):
    return past(real).expand(len(real), -1, -1)


def turned_table(real):
    return attendable(real)[:, 0].transpose(1, 2)


def forbidden(real):
    return ~attendable(real)[:, 0]


def strictly_past(real):
    return past(real).tril(-1) & real[:, None, :]


def only_itself(real):
    return torch.eye(real.shape[1]).bool().expand(len(real), -1, -1)


def padding_sees_nothing(real):
    return past(real) & real[:, None, :]


def one_table(real):
    return past(real)


# ---- the last state ----


def last_by_loop(states, lengths):
    return [states[row, int(length) - 1].tolist() for row, length in enumerate(lengths)]


def last_by_gather(states, lengths):
    places = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, places)[:, 0]


def last_place(states, lengths):
    return states[:, -1]


def one_too_far(states, lengths):
    return states[torch.arange(len(lengths)), lengths.clamp(max=states.shape[1] - 1)]


def one_too_early(states, lengths):
    return states[torch.arange(len(lengths)), lengths - 2]


def oldest(states, lengths):
    return states[:, 0]


def mean_of_places(states, lengths):
    return states.mean(1)


def every_place(states, lengths):
    return states[:, lengths - 1]


def sum_of_items(states, lengths):
    return (states * (torch.arange(states.shape[1]) < lengths[:, None])[..., None]).sum(1)


# ---- contrast ----


def contrast(states, items, item_ids, tau, hide="other", norm=True, value=-torch.inf, how="over", sign=1):
    if norm:
        states, items = F.normalize(states, dim=1), F.normalize(items, dim=1)
    logits = states @ items.T / tau if how == "over" else states @ items.T * tau if how == "times" else states @ items.T
    same, own = item_ids[:, None] == item_ids, torch.eye(len(states)).bool()
    hidden = {"other": same & ~own, "nobody": own & ~own, "all": same, "own": own}[hide]
    return sign * (logits.masked_fill(hidden, value).logsumexp(1) - logits.diagonal()).mean()


def contrast_by_loop(states, items, item_ids, tau):
    states, items = F.normalize(states, dim=1).tolist(), F.normalize(items, dim=1).tolist()
    losses = []
    for i, state in enumerate(states):
        terms = [
            np.exp(np.dot(state, item) / tau)
            for j, item in enumerate(items)
            if i == j or item_ids[j] != item_ids[i]
        ]  # fmt: skip
        losses.append(-np.log(np.exp(np.dot(state, items[i]) / tau) / np.sum(terms)))
    return float(np.mean(losses))


def doubles_are_wrong(*given):
    return contrast(*given, hide="nobody")


def hidden_as_zero(*given):
    return contrast(*given, value=0.0)


def no_positive_below(*given):
    return contrast(*given, hide="all")


def no_length(*given):
    return contrast(*given, norm=False)


def no_tau(*given):
    return contrast(*given, how="flat")


def tau_times(*given):
    return contrast(*given, how="times")


def sign_turned(*given):
    return contrast(*given, sign=-1)


def summed(*given):
    return 4 * contrast(*given)


def several_losses(states, items, item_ids, tau):
    return states[:, 0]


# ---- two streams ----


def mixed(textual, visual, swapped, real):
    where = (swapped & real)[..., None]
    return torch.where(where, visual, textual), torch.where(where, textual, visual)


def mixed_by_loop(textual, visual, swapped, real):
    first, second = textual.numpy().copy(), visual.numpy().copy()
    for row, place in zip(*np.nonzero((swapped & real).numpy())):
        first[row, place], second[row, place] = visual[row, place].numpy(), textual[row, place].numpy()
    return first, second


def padding_is_mixed(textual, visual, swapped, real):
    return mixed(textual, visual, swapped, torch.ones_like(real))


def nothing_is_mixed(textual, visual, swapped, real):
    return textual, visual


def the_rest_is_mixed(textual, visual, swapped, real):
    return mixed(textual, visual, ~swapped, real)


def all_is_mixed(textual, visual, swapped, real):
    return mixed(textual, visual, real, real)


def streams_exchanged(textual, visual, swapped, real):
    return mixed(textual, visual, swapped, real)[::-1]


def one_way(textual, visual, swapped, real):
    return mixed(textual, visual, swapped, real)[0], visual


def both_the_same(textual, visual, swapped, real):
    return (mixed(textual, visual, swapped, real)[0],) * 2


# ---- LoRA ----


def low_rank(x, weight, a, b, alpha):
    return F.linear(x, weight + alpha / len(a) * b @ a)


def low_rank_by_loop(x, weight, a, b, alpha):
    more = np.einsum("ni,ri,or->no", x, a, b) * alpha / a.shape[0]
    return np.einsum("ni,oi->no", x, weight) + more


def no_scale(x, weight, a, b, alpha):
    return F.linear(x, weight + b @ a)


def only_alpha(x, weight, a, b, alpha):
    return F.linear(x, weight + alpha * b @ a)


def upside_down(x, weight, a, b, alpha):
    return F.linear(x, weight + len(a) / alpha * b @ a)


def by_the_width(x, weight, a, b, alpha):
    return F.linear(x, weight + alpha / x.shape[1] * b @ a)


def no_base(x, weight, a, b, alpha):
    return F.linear(x, alpha / len(a) * b @ a)


def base_alone(x, weight, a, b, alpha):
    return F.linear(x, weight)


def returns_the_weight(x, weight, a, b, alpha):
    return weight + alpha / len(a) * b @ a


# ---- a layer that is judged ----


def fast_path_off(layer, x):
    layer.eval()
    with torch.no_grad(), trap.without_fast_path():
        return layer(x)


def by_parts(layer, x):
    layer.eval()
    with torch.no_grad():
        x = layer.norm1(x + layer.self_attn(x, x, x, need_weights=False)[0])
        return layer.norm2(x + layer.linear2(torch.relu(layer.linear1(x))))


def judges_the_frozen(layer, x):
    layer.eval()
    with torch.no_grad():
        return layer(x)


def still_training(layer, x):
    return layer(x)


def first_word_only(layer, x):
    return fast_path_off(layer, x)[:, 0]


def stays_off(layer, x):
    layer.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        return layer(x)


def twice(layer, x):
    return fast_path_off(layer, fast_path_off(layer, x))


RIGHT = {
    checks.causal_mask: [mask_of_the_course, mask_by_loop],
    checks.last_state: [last_by_loop, last_by_gather],
    checks.contrast_loss: [contrast, contrast_by_loop],
    checks.mixed_streams: [mixed, mixed_by_loop],
    checks.low_rank: [low_rank, low_rank_by_loop],
    checks.judged_with_lora: [fast_path_off, by_parts],
}
WRONG = {
    checks.causal_mask: {
        sees_the_future: "the future leaks",
        sees_padding: "padding is looked at",
        turned_table: "row and column",
        forbidden: "what is forbidden",
        strictly_past: "does not see itself",
        only_itself: "nothing before it",
        padding_sees_nothing: "softmax over nothing",
        one_table: "one table for all",
    },
    checks.last_state: {
        last_place: "the last place",
        one_too_far: "one too far",
        one_too_early: "one place too early",
        oldest: "the oldest item",
        mean_of_places: "padding included",
        every_place: "every place",
        sum_of_items: "sum over all items",
    },
    checks.contrast_loss: {
        doubles_are_wrong: "same item is treated as wrong",
        hidden_as_zero: "exp(0) = 1",
        no_positive_below: "positive is missing",
        no_length: "length 1",
        no_tau: "tau is missing",
        tau_times: "multiply by tau",
        sign_turned: "sign is turned",
        summed: "take the mean",
        several_losses: "take their mean",
    },
    checks.mixed_streams: {
        padding_is_mixed: "padding is mixed",
        nothing_is_mixed: "nothing changes",
        the_rest_is_mixed: "the rest is swapped",
        all_is_mixed: "everything is swapped",
        streams_exchanged: "exchanged",
        one_way: "what leaves one stream",
        both_the_same: "both streams are the same",
    },
    checks.low_rank: {
        no_scale: "scale is missing",
        only_alpha: "divide by the rank",
        upside_down: "upside down",
        by_the_width: "rows of A",
        no_base: "frozen weight is missing",
        base_alone: "before it was tuned",
        returns_the_weight: "apply it to x",
    },
    checks.judged_with_lora: {
        judges_the_frozen: "judges the frozen model",
        still_training: "dropout is still on",
        first_word_only: "shape",
        stays_off: "put it back",
        twice: "something else",
    },
}
test_right_answers_pass, test_the_mistake_is_named, test_five_mistakes_at_least_for_every_check = table_tests(
    RIGHT, WRONG
)


def test_the_padding_of_a_row_may_see_what_it_likes():
    assert checks.causal_mask(lambda real: attendable(real) | ~real[:, None, :, None]).passed is True
