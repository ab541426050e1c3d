from django.db import migrations


def guess(apps, schema_editor):
    apps.get_model("library", "Book").objects.filter(title__startswith="Der ").update(language="de")


class Migration(migrations.Migration):
    """A data migration."""

    dependencies = [("library", "0002_language")]

    operations = [migrations.RunPython(guess, migrations.RunPython.noop)]
