"""AI feedback (Constitutional AI, Bai et al. 2022): principles, judges that compare replies by them, revisions."""
