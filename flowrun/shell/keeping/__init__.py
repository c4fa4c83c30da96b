"""Looking after what runs made: where it lies, whether it is sound, what nobody needs any more."""
