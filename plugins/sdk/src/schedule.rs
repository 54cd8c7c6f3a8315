//! Values over the time of a training: learning rates and other settings that change from step to step.
