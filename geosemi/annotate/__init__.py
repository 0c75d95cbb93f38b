"""WHAT do others see in a scene: vision-language models, older maps, simulations; their opinions become rasters."""
