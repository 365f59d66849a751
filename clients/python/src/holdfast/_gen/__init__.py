# Makes this directory a package. Generated, do not edit.
