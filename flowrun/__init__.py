"""flowrun: packs a plan's nodes onto the CPUs and GPUs of one host, in isolated processes."""
