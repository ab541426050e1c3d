from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=100)


class Book(models.Model):
    title = models.CharField(max_length=100)
    language = models.CharField(max_length=20, default="en")
    author = models.ForeignKey(Author, null=True, on_delete=models.SET_NULL)
