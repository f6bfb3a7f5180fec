"""What containers have mounted: binds, volumes, images, tmpfs."""
