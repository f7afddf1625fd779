"""The optimizer and the course of its learning rate."""

import keras

from pipeline.config.schema import Training

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "lion": keras.optimizers.Lion,
    "nadam": keras.optimizers.Nadam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def build_optimizer(training: Training, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer for a training of `steps` steps in all.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, 2019, arXiv:1711.05101) and leaves biases and
    the scales of batch normalisation alone.
    """
    arguments = {"momentum": training.momentum} if training.optimizer == "sgd" else {}
    optimizer = OPTIMIZERS[training.optimizer](
        learning_rate_course(training, steps), weight_decay=training.weight_decay or None, **arguments
    )
    if training.weight_decay > 0:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def learning_rate_course(training: Training, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Constant, or a linear warm-up from 0 and then a cosine down to 0 (Loshchilov and Hutter, 2017, 1608.03983)."""
    if training.schedule == "constant":
        return training.learning_rate
    warmup = round(steps * training.warmup)
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(training.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=training.learning_rate, warmup_steps=warmup
    )
