"""The search: spaces that users edit, candidates drawn from them, and the engines that try them."""
