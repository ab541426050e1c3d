from django.db import migrations, models


class Migration(migrations.Migration):
    """A NOT NULL column, which Django adds with a default that it drops again at once."""

    dependencies = [("library", "0001_initial")]

    operations = [
        migrations.AddField("Book", "language", models.CharField(max_length=20, default="en")),
    ]
