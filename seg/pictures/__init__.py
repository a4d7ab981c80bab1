"""Pictures of images, label maps and instances, as arrays and as files."""
