"""Kill anything at any moment, and see that nothing is lost: the engine of bench/endurance.py and of its short run here."""
