"""From a labelled image to an augmented one: the policy of transforms, copy-paste, and what becomes of objects that are cut."""
