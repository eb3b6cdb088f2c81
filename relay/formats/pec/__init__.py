"""Receipts of certified mail (PEC, Posta Elettronica Certificata), read without trusting them."""
