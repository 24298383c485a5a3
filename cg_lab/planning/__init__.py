"""From a study and a catalogue to a plan; pure: no disk, no clock, no network, no torch."""
