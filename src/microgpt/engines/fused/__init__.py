"""The engine `fused`: the whole step of a GPT in one C kernel, compiled for its sizes on first use."""
