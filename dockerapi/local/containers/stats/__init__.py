"""What containers use of the host: cgroups read, and the operation ContainerStats."""
