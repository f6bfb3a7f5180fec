"""What a user of the docker CLI notices when ours stands where dockerd stood, found by trying."""
