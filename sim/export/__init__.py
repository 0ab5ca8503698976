"""Episodes in other people's formats, each without loss: any of them gives the very records back.

One module a format, loaded when it is asked for; its library is optional. `formats` is the way in.
"""
