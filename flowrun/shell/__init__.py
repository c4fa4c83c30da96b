"""The world: processes, files, devices, the clock."""
