from django.db import migrations, models


class Migration(migrations.Migration):
    """A new table, and a column that refers to it."""

    dependencies = [("library", "0003_guess_language")]

    operations = [
        migrations.CreateModel(
            "Author",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=100)),
            ],
        ),
        migrations.AddField(
            "Book", "author", models.ForeignKey("library.Author", null=True, on_delete=models.SET_NULL)
        ),
    ]
