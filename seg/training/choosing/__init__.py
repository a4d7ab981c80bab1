"""What a training chooses on its validation images when it is over: a temperature, and what is done to objects."""
