"""One small application, bare and as each library measures it; a module each, so that a server's
worker holds nothing that it does not use.
"""
