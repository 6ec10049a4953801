"""The modules inside the backbones. They import torch at the top, so import them inside the function that needs them."""
