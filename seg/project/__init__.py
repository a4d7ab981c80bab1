"""What a project is made of: the configuration that the package brings, and the code that a project's stages were run with."""
